"""Who may do what: tokens, the file that names them, and what each allows."""
