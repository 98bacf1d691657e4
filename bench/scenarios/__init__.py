"""The scenarios, a file each. Each takes the rig and the form, and gives a `Result`."""
