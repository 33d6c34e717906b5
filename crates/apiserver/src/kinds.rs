//! What the server must know of a resource beyond its path: the rules in which one differs from another.

/// The rules of one resource.
#[derive(Clone, Copy)]
pub struct Kind {
    /// What the real server calls its objects; empty for a resource that is not served.
    pub name: &'static str,
    /// It has a status subresource: writes to the object ignore the status, and the other way round.
    pub has_status: bool,
    /// The phase in the status of a new object; empty for none.
    pub first_phase: &'static str,
    /// A change of anything but metadata and status bumps `metadata.generation`.
    pub has_generation: bool,
    /// And so does a change of its annotations.
    pub counts_annotations: bool,
    /// It is given time to end before it goes.
    pub has_grace: bool,
    /// A PUT without a resourceVersion overwrites; elsewhere it is refused.
    pub unconditional_update: bool,
    /// A PUT to a name that is not there creates it.
    pub create_on_update: bool,
    /// A custom resource: kept as it was sent, where built-in types leave out what is empty.
    pub custom: bool,
    /// The field selectors beyond `metadata.name` and `metadata.namespace`.
    pub selectable: &'static [&'static str],
}

const BUILT_IN: Kind = Kind {
    name: "",
    has_status: false,
    first_phase: "",
    has_generation: false,
    counts_annotations: false,
    has_grace: false,
    unconditional_update: true,
    create_on_update: false,
    custom: false,
    selectable: &[],
};

const WORKLOAD: Kind = Kind { has_status: true, has_generation: true, ..BUILT_IN };

const CUSTOM: Kind = Kind {
    name: "",
    has_status: true,
    first_phase: "",
    has_generation: true,
    counts_annotations: false,
    has_grace: false,
    unconditional_update: false,
    create_on_update: false,
    custom: true,
    selectable: &[],
};

/// The rules of a resource written as kubectl does: `secrets`, `leases.coordination.k8s.io`. What is not known has no name.
pub fn kind_of(resource: &str) -> Kind {
    match resource {
        "secrets" => Kind { name: "Secret", selectable: &["type"], ..BUILT_IN },
        "pods" => Kind {
            name: "Pod",
            has_status: true,
            first_phase: "Pending",
            has_generation: true,
            has_grace: true,
            selectable: &["spec.nodeName", "spec.serviceAccountName", "status.phase"],
            ..BUILT_IN
        },
        "deployments.apps" => Kind { name: "Deployment", counts_annotations: true, ..WORKLOAD },
        "statefulsets.apps" => Kind { name: "StatefulSet", ..WORKLOAD },
        "daemonsets.apps" => Kind { name: "DaemonSet", ..WORKLOAD },
        "leases.coordination.k8s.io" => {
            Kind { name: "Lease", unconditional_update: false, create_on_update: true, ..BUILT_IN }
        }
        "events.events.k8s.io" => {
            Kind { name: "Event", create_on_update: true, selectable: &["reason", "type"], ..BUILT_IN }
        }
        "pleoconnections.pleo.io" => Kind { name: "PleoConnection", ..CUSTOM },
        _ => BUILT_IN,
    }
}
