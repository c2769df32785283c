//! The targets, by crate. A file of targets starts with their list; the compiler finds a function that is not in it.

use crate::Target;

/// Lists functions as the targets of a file, and makes a test of each.
macro_rules! targets {
    ($($name:ident)+) => {
        pub(super) static TARGETS: &[$crate::Target] = &[
            $($crate::Target { name: stringify!($name), check: $name },)+
        ];

        #[cfg(test)]
        mod smoke {
            $(#[test] fn $name() { $crate::smoke::try_target(stringify!($name)); })+
        }
    };
}

mod advisories;
mod catalog;
mod core;
#[cfg(feature = "functions")]
mod functions;
mod oci;
mod registry;
mod report;

/// Lists all targets.
pub fn targets() -> impl Iterator<Item = &'static Target> {
    let files = [
        advisories::TARGETS,
        catalog::TARGETS,
        core::TARGETS,
        #[cfg(feature = "functions")]
        functions::TARGETS,
        oci::TARGETS,
        registry::TARGETS,
        report::TARGETS,
    ];
    files.into_iter().flatten()
}
