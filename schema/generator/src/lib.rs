//! Parser and code generator for QAPI schemas.
