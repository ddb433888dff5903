"""The offline model: what answers where no LLM is set. It thinks nothing, and does as the text of a request says."""
