"""The gateway: what browsers and other clients reach. Each request is checked here before anything hears of it."""
