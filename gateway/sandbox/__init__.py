"""A stand-in for the Graph API that refuses what Meta refuses."""
