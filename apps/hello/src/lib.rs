//! The hello reference service: a greeting with a timestamp, drains on SIGTERM.
