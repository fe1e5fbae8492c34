"""One experiment for each module of the paper: does it do what the paper says?"""
