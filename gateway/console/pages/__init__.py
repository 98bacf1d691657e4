"""One module for each page: the values that it shows, built from what the gateway tells, and a function to make it."""
