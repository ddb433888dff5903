"""Tool calls that wait for a person, as interrupts of AG-UI: what is asked, and what the next run answers."""
