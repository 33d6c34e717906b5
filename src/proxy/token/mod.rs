//! The token as the proxy has it.
//!
//! | file | does |
//! |---|---|
//! | [`keeper`] | holds the rules' state ([`crate::domain::proxy`]), and looks at the folder when a call depends on it |
//! | [`folder`] | reads it |

pub mod folder;
pub mod keeper;
