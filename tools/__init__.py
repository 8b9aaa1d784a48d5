"""What makes the manual pages and the completions out of the programs themselves."""
