//! The real binary as a shell or a supervisor sees it: exit codes, signals, and sentences on stderr.
//!
//! What travels through the proxy is told elsewhere; here only the process counts.

mod configuration;
mod harness;
mod hostile;
mod signals;
mod start;
mod streams;
