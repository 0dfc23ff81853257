//! Notes about valid rules.

mod feasibility;
