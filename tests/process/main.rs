//! The real binary as a shell or a supervisor sees it: exit codes, signals, and sentences on stderr.
//!
//! What travels through the proxy is told elsewhere; here only the process counts, and what its threads do to each other.

mod commands;
mod configuration;
mod harness;
mod hostile;
mod interim;
mod signals;
mod start;
mod streams;
