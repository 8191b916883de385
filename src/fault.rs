//! Mistakes that a test can plant, one at a time, to see whether the checker notices them. Without the feature `faults` there
//! are none, and asking costs nothing.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// The ticket is taken when the origin has answered.
    LateTicket = 1,
    /// What was invalidated since its ticket is stored all the same.
    GateSkipped,
    /// A flight is joined whatever was invalidated since it began.
    OldFlightJoined,
    /// What an answer may turn out to depend on is taken for nothing by the join rule.
    UnknownTagsJoined,
    /// What is dead is found.
    DeadServed,
    /// A 304 makes what was invalidated meanwhile fresh again.
    RevivedBy304,
    /// Floors of patterns, prefixes and globs hold back no fill in flight.
    WideFloorsForgotten,
    /// Invalidating everything holds back no fill in flight.
    FloorOfAllForgotten,
    /// Floors go while tickets below them are in flight.
    FloorsDroppedEarly,
    /// Who wrote is answered before the invalidation is applied.
    AnswerFirst,
    /// A write of unknown outcome invalidates nothing.
    UnknownOutcomeIgnored,
    /// What cannot be resolved in a rule is skipped instead of widened.
    UnresolvedSkipped,
    /// What is derived is left as it is.
    DerivedForgotten,
    /// Values in bodies become no tags.
    BodyTagsForgotten,
    /// Tags that the origin names are not read.
    HeaderTagsForgotten,
    /// A batch is acknowledged when it is begun.
    BatchAcknowledgedEarly,
    /// Who invalidated softly is served what is older, as anybody else.
    AuthorServedStale,
    /// A patterns is looked for among the tags of one entry only.
    PatternStopsAtFirst,
}

/// Whether this mistake was planted.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn is(_: Fault) -> bool {
    false
}

#[cfg(feature = "faults")]
mod planted {
    use std::sync::atomic::{AtomicU8, Ordering};

    use crate::fault::Fault;

    static PLANTED: AtomicU8 = AtomicU8::new(0);

    /// Whether this mistake was planted.
    pub fn is(fault: Fault) -> bool {
        PLANTED.load(Ordering::Relaxed) == fault as u8
    }

    /// Plants a mistake for the rest of the process.
    pub fn plant(fault: Fault) {
        PLANTED.store(fault as u8, Ordering::Relaxed);
    }
}

#[cfg(feature = "faults")]
pub use planted::{is, plant};
