//! The command `inducer`.

inducer_reports::program!();
