//! Secrets: reading them, and writing the two kinds that are ours. Every write of an existing Secret is a
//! compare-and-swap on its resourceVersion, as a merge patch, so that metadata and keys of others stay (in the
//! token Secret, which pods mount, only metadata).

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Resource, ResourceExt,
    api::{
        Api, DeleteParams, ListParams, ObjectMeta, PartialObjectMeta, Patch, PatchParams, PostParams, Preconditions,
    },
};
use serde_json::{Map, Value, json};

use super::{Seen, Store, StoreError, edits::edit, manager};
use crate::{
    api::{PleoConnection, names},
    domain::{
        ledger::{
            grant::Grant,
            record::{self, Data},
        },
        plan::{adoption::TokenRemoval, projection},
        snapshot::{
            GrantSecret, TokenSecret, Versioned,
            published::{Content, Published},
        },
        spec::ResolvedSpec,
        token::Fingerprint,
    },
};

impl Store {
    fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// A Secret that a user wrote.
    ///
    /// # Errors
    /// If the API server gave no answer or refused.
    pub async fn read_secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, StoreError> {
        self.call(Some(namespace), self.secrets(namespace).get_opt(name)).await
    }

    /// The grant Secret of a connection. Whose it is, this connection's or an earlier namesake's, is not decided here.
    ///
    /// # Errors
    /// If the API server gave no answer or refused.
    pub async fn read_grant(&self, namespace: &str, connection: &str) -> Result<GrantSecret, StoreError> {
        self.look_at_grant(namespace, connection).await.map(|seen| seen.what)
    }

    /// The same, and who else wrote into it.
    ///
    /// # Errors
    /// If the API server gave no answer or refused.
    pub async fn look_at_grant(&self, namespace: &str, connection: &str) -> Result<Seen<GrantSecret>, StoreError> {
        let Some(secret) = self.read_secret(namespace, &names::grant_secret(connection)).await? else {
            return Ok(Seen { what: GrantSecret::Absent, edit: None });
        };
        if !is_grant(&secret, connection) {
            return Ok(Seen { what: GrantSecret::NotOwned, edit: None });
        }
        let (version, edit) = (secret.resource_version().unwrap_or_default(), edit(&secret));
        let what = match record::decode(data(secret)) {
            Ok(value) => GrantSecret::Ours(Versioned { value, version }),
            Err(why) => GrantSecret::Unreadable(why),
        };
        Ok(Seen { what, edit })
    }

    /// The version of the grant Secret, whatever stands in it; none if it is not there or not ours.
    ///
    /// # Errors
    /// If the API server gave no answer or refused.
    pub async fn grant_version(&self, namespace: &str, connection: &str) -> Result<Option<String>, StoreError> {
        let secret = self.read_secret(namespace, &names::grant_secret(connection)).await?;
        Ok(secret.filter(|secret| is_grant(secret, connection)).and_then(|secret| secret.resource_version()))
    }

    /// Writes the grant of a connection: creates its Secret, or replaces the version that was read.
    ///
    /// # Errors
    /// If someone else wrote first, or the API server gave no answer or refused.
    pub async fn write_grant(
        &self,
        spec: &ResolvedSpec,
        grant: Grant,
        replaces: Option<&str>,
    ) -> Result<Versioned<Grant>, StoreError> {
        let mut labels = projection::own_labels(&spec.name);
        labels.extend(grant.history.iter().map(|old| (adopted_label(&old.fingerprint), String::new())));
        let data = record::encode(&grant);
        let absent = record::KEYS.into_iter().filter(|key| !data.contains_key(*key)).map(str::to_owned).collect();
        let secret = Secret {
            metadata: metadata(spec, names::grant_secret(&spec.name), labels.into_iter().collect()),
            type_: Some(names::GRANT_SECRET_TYPE.to_owned()),
            ..Secret::default()
        };
        let version = self.write(secret, data, absent, replaces).await?;
        Ok(Versioned { value: grant, version })
    }

    /// The token Secret of a connection, and who else wrote into it.
    ///
    /// # Errors
    /// If the API server gave no answer or refused.
    pub async fn look_at_token(
        &self,
        namespace: &str,
        name: &str,
        connection: &str,
    ) -> Result<Seen<TokenSecret>, StoreError> {
        let Some(secret) = self.read_secret(namespace, name).await? else {
            return Ok(Seen { what: TokenSecret::Absent, edit: None });
        };
        if secret.type_.as_deref() != Some(names::OPAQUE_SECRET_TYPE) || !is_ours(&secret, connection) {
            return Ok(Seen { what: TokenSecret::NotOwned, edit: None });
        }
        let edit = edit(&secret);
        let mut published = published(secret);
        published.value.is_edited = edit.is_some();
        Ok(Seen { what: TokenSecret::Ours(published), edit })
    }

    /// Writes the token Secret of a connection: creates it, or replaces the version that was read.
    ///
    /// # Errors
    /// If someone else wrote first, or the API server gave no answer or refused.
    pub async fn write_token(
        &self,
        spec: &ResolvedSpec,
        content: &Content,
        replaces: Option<&Versioned<Published>>,
    ) -> Result<TokenSecret, StoreError> {
        let mut metadata = metadata(spec, spec.secret_name.clone(), projection::labels(spec));
        metadata.annotations = Some(spec.secret_annotations.clone()).filter(|annotations| !annotations.is_empty());
        let unknown_keys = replaces.map(|old| old.value.unknown_keys.clone()).unwrap_or_default();
        let absent = content.absent_keys().map(str::to_owned).chain(unknown_keys).collect();
        let secret = Secret { metadata, type_: Some(names::OPAQUE_SECRET_TYPE.to_owned()), ..Secret::default() };
        let version = self.write(secret, content.encode(), absent, replaces.map(|old| old.version.as_str())).await?;
        let wanted = |labels: Option<&BTreeMap<String, String>>, more| {
            let mut all = labels.cloned().unwrap_or_default();
            all.extend(more);
            all
        };
        Ok(TokenSecret::Ours(Versioned {
            value: Published {
                content: Some(content.clone()),
                unknown_keys: Vec::new(),
                labels: wanted(replaces.map(|old| &old.value.labels), projection::labels(spec)),
                annotations: wanted(replaces.map(|old| &old.value.annotations), spec.secret_annotations.clone()),
                owner: Some(spec.uid.clone()),
                is_edited: false,
            },
            version,
        }))
    }

    /// Creates a Secret, or patches the version that was read; `absent` keys are removed.
    async fn write(
        &self,
        mut secret: Secret,
        data: Data,
        absent: Vec<String>,
        replaces: Option<&str>,
    ) -> Result<String, StoreError> {
        let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
        let api = self.secrets(&namespace);
        // The ledger holds no secret, and names that an honest message may name as well.
        let secrets: Vec<Vec<u8>> =
            data.iter().filter(|(key, _)| *key != record::LEDGER).map(|(_, value)| value.clone()).collect();
        let data = data.into_iter().map(|(key, value)| (key, ByteString(value))).collect();
        let written = match replaces {
            None => {
                secret.data = Some(data);
                let parameters = PostParams { field_manager: manager(), ..PostParams::default() };
                self.call(Some(&namespace), api.create(&parameters, &secret))
                    .await
                    .map(|written| written.resource_version())
            }
            Some(version) => {
                secret.metadata.resource_version = Some(version.to_owned());
                let mut members: Map<String, Value> = absent.into_iter().map(|key| (key, Value::Null)).collect();
                members.extend(data.into_iter().map(|(key, value)| (key, json!(value))));
                let patch = Patch::Merge(json!({ "metadata": secret.metadata, "data": members }));
                let parameters = PatchParams { field_manager: manager(), ..PatchParams::default() };
                // Only the version is wanted of the answer.
                let written = self.call(Some(&namespace), api.patch_metadata(&name, &parameters, &patch)).await;
                written.map(|written| written.resource_version())
            }
        };
        let version = written.map_err(|error| error.without(&secrets))?.unwrap_or_default();
        self.own_writes.note(&namespace, &name, &version);
        Ok(version)
    }

    /// Deletes the token Secret of an earlier `secretName`, if it is this connection's.
    ///
    /// # Errors
    /// If the API server gave no answer or refused.
    pub async fn delete_old_token(&self, spec: &ResolvedSpec, name: &str) -> Result<(), StoreError> {
        let Some(secret) = self.read_secret(&spec.namespace, name).await? else { return Ok(()) };
        let owner = owner(&secret);
        if !is_ours(&secret, &spec.name)
            || owner.as_deref() != Some(&spec.uid)
            || secret.type_.as_deref() != Some(names::OPAQUE_SECRET_TYPE)
        {
            return Ok(());
        }
        let preconditions = Preconditions { uid: secret.uid(), resource_version: secret.resource_version() };
        let this_one = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.call(Some(&spec.namespace), self.secrets(&spec.namespace).delete(name, &this_one)).await {
            Ok(_) | Err(StoreError::NotFound) => {
                self.own_writes.forget(&spec.namespace, name);
                Ok(())
            }
            Err(error) => {
                let values = secret.data.unwrap_or_default().into_values().map(|value| value.0);
                Err(error.without(&values.collect::<Vec<_>>()))
            }
        }
    }

    /// Removes a used token from the user's Secret, and the copy of it that `kubectl apply` keeps.
    ///
    /// # Errors
    /// If the Secret changed meanwhile, or the API server gave no answer or refused.
    pub async fn remove_token(&self, spec: &ResolvedSpec, token_removal: &TokenRemoval) -> Result<(), StoreError> {
        let api = self.secrets(&spec.namespace);
        let version = &token_removal.version;
        let metadata = match token_removal.copied {
            true => json!({ "resourceVersion": version, "annotations": { names::LAST_APPLIED_ANNOTATION: null } }),
            false => json!({ "resourceVersion": version }),
        };
        let patch = Patch::Merge(json!({ "metadata": metadata, "data": { token_removal.key.as_str(): null } }));
        let parameters = PatchParams { field_manager: manager(), ..PatchParams::default() };
        let written =
            self.call(Some(&spec.namespace), api.patch_metadata(&token_removal.secret, &parameters, &patch)).await?;
        let version = written.resource_version().unwrap_or_default();
        self.own_writes.note_for(&spec.namespace, &spec.name, &token_removal.secret, &version);
        Ok(())
    }

    /// The connection in `scopes` (namespaces; none: all), other than this one, that adopted this token.
    ///
    /// # Errors
    /// If the API server gave no answer or refused.
    pub async fn adopter(
        &self,
        fingerprint: &Fingerprint,
        spec: &ResolvedSpec,
        scopes: &[String],
    ) -> Result<Option<String>, StoreError> {
        let everywhere = [None];
        let scopes: Vec<Option<&String>> =
            if scopes.is_empty() { everywhere.to_vec() } else { scopes.iter().map(Some).collect() };
        for scope in scopes {
            let api: Api<Secret> = match scope {
                None => Api::all(self.client.clone()),
                Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            };
            let labeled = ListParams::default().labels(&adopted_label(fingerprint));
            let found = self.call(scope.map(String::as_str), api.list_metadata(&labeled)).await?;
            let other = found.items.iter().find(|secret| !is_grant_of(secret, spec)).map(adopter_name);
            if other.is_some() {
                return Ok(other);
            }
        }
        Ok(None)
    }
}

fn adopted_label(fingerprint: &Fingerprint) -> String {
    format!("{}{fingerprint}", names::ADOPTED_LABEL_PREFIX)
}

fn is_grant_of(secret: &PartialObjectMeta<Secret>, spec: &ResolvedSpec) -> bool {
    secret.namespace().as_deref() == Some(&spec.namespace) && secret.name_any() == names::grant_secret(&spec.name)
}

fn adopter_name(secret: &PartialObjectMeta<Secret>) -> String {
    let name = secret.name_any();
    let connection = name.strip_prefix(names::GRANT_SECRET_PREFIX).unwrap_or(&name);
    format!("{}/{connection}", secret.namespace().unwrap_or_default())
}

fn metadata(spec: &ResolvedSpec, name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
    let owner = OwnerReference {
        api_version: PleoConnection::api_version(&()).into_owned(),
        kind: PleoConnection::kind(&()).into_owned(),
        name: spec.name.clone(),
        uid: spec.uid.clone(),
        controller: Some(true),
        ..Default::default()
    };
    ObjectMeta {
        name: Some(name),
        namespace: Some(spec.namespace.clone()),
        labels: Some(labels),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    }
}

fn is_ours(secret: &Secret, connection: &str) -> bool {
    projection::own_labels(connection).iter().all(|(key, value)| secret.labels().get(key) == Some(value))
}

/// A grant Secret of ours. Its type can never be changed; labels can be lost, and the owner identifies it too.
fn is_grant(secret: &Secret, connection: &str) -> bool {
    let owned = secret
        .owner_references()
        .iter()
        .any(|owner| owner.kind == PleoConnection::kind(&()) && owner.name == connection);
    secret.type_.as_deref() == Some(names::GRANT_SECRET_TYPE) && (owned || is_ours(secret, connection))
}

fn owner(secret: &Secret) -> Option<String> {
    let kind = PleoConnection::kind(&());
    secret.owner_references().iter().find(|owner| owner.kind == kind).map(|owner| owner.uid.clone())
}

fn published(mut secret: Secret) -> Versioned<Published> {
    let owner = owner(&secret);
    let version = secret.resource_version().unwrap_or_default();
    let labels = secret.metadata.labels.take().unwrap_or_default();
    let annotations = secret.metadata.annotations.take().unwrap_or_default();
    Versioned { value: Published::read(data(secret), labels, annotations, owner), version }
}

fn data(secret: Secret) -> Data {
    secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect()
}
