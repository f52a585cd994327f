//! The command `inducer` with a variant of one's own beside the paper's methods: it is trained,
//! decoded, saved, loaded, counted, reported and checked by its name, as they are.

pub mod two_inducers;

inducer_reports::program!(two_inducers::TwoInducers);
