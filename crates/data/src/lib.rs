//! Sources and sinks of rows, and jobs that survive being killed.
