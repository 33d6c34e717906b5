//! What several suites of tests share.
//!
//! | module | for | |
//! |---|---|---|
//! | [`scenes`] | the pure layer, the attacks, the corpus and the fuzzer | what was seen of one connection, and decisions that come true in memory |
//! | [`proxy`] | the proxy, the attacks on it | a proxy in this process, and a folder that the kubelet could have made |
//! | [`cluster`] | the real API server, the browser | operators as processes, a sandbox, a hunt for leaked secrets |

pub mod cluster;
pub mod proxy;
pub mod scenes;
