//! The schema: generated types, dispatch and signals.
