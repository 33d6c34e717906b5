//! `pleo-operator proxy`: runs beside an application and forwards its calls to the API with the current token. While the token is
//! refreshed, calls wait; the application never has the token, and no call of it is rejected because of a rotation.
//!
//! | file | does |
//! |---|---|
//! | [`run`] | starts all of it, and drains |
//! | [`server`] | accepts connections, with limits |
//! | [`heads`] | ends connections whose next request does not arrive |
//! | [`forward`] | takes one call from its request to its response |
//! | [`token`] | has the token, and the state that calls depend on |
//! | [`rules`] | which requests are rejected, and which headers are forwarded |
//! | [`body`] | bodies that are kept to be sent again, and those that are not |
//! | [`upstream`] | sends to the API |
//! | [`reporter`] | reports a token that the API rejects |
//! | [`problem`] | what the proxy answers itself |
//! | [`metrics`] | what is counted |
//! | [`config`] | the settings |

pub mod body;
pub mod config;
pub mod forward;
pub mod heads;
pub mod metrics;
pub mod problem;
pub mod reporter;
pub mod rules;
pub mod run;
pub mod server;
pub mod token;
pub mod upstream;
