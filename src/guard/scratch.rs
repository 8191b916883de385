//! One read buffer a thread: what is read is judged at once, so that an idle connection holds no buffer.
//!
//! Invariant: the buffer is taken out while it is used, so that a guard within a guard gets one of its own. It refuses to know
//! what is read.

use std::cell::Cell;

/// Most bytes that one read takes.
pub(crate) const SIZE: usize = 64 * 1024;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Runs `read` with [`SIZE`] bytes of scratch space, with nothing meaningful in them.
pub(crate) fn with<R>(read: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut buffer = BUFFER.take();
    if buffer.is_empty() {
        buffer = vec![0; SIZE];
    }
    let result = read(&mut buffer);
    BUFFER.set(buffer);
    result
}
