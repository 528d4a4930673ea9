"""What any long run needs: files that hold it unfinished, Ctrl-C that waits, and whether bars are wanted."""
