//! The proxy in front of the strict server, over real sockets: an application's calls, the rotations behind its back, and what it is
//! answered when there is no token. The rules alone are in `tests/domain/proxy`, hostile clients and servers in `tests/attacks/proxy`.

mod calls;
mod limits;
mod reports;
mod rotations;
mod stage;
