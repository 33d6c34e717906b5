{{/* Values that contradict each other, or cannot work, end the rendering with a sentence that says what to write. */}}

{{- define "pleo-operator.validate" -}}
{{- $v := .Values }}

{{- /* The image. */}}
{{- if not $v.image.repository }}
{{- fail "image.repository is empty, and there is no published image: build one with `make image`, push it to your registry, and add --set image.repository=registry.example.com/pleo-operator" }}
{{- end }}
{{- if and $v.image.digest (not (regexMatch "^sha256:[0-9a-f]{64}$" $v.image.digest)) }}
{{- fail (printf "image.digest %q is no digest: write sha256: and 64 hexadecimal digits, or leave it empty and set image.tag" $v.image.digest) }}
{{- end }}
{{- if regexMatch "(@|:[^/]*$)" $v.image.repository }}
{{- fail (printf "image.repository %q has a tag or a digest in it: put that into image.tag or image.digest" $v.image.repository) }}
{{- end }}

{{- /* Scope and rights. */}}
{{- range $v.namespaces }}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" .) }}
{{- fail (printf "namespaces: %q is no name of a namespace; for all namespaces leave the list empty" .) }}
{{- end }}
{{- end }}
{{- if ne (len $v.namespaces) (len (uniq $v.namespaces)) }}
{{- fail (printf "namespaces: these are listed twice: %s" (join ", " $v.namespaces)) }}
{{- end }}
{{- if and (not $v.serviceAccount.create) (not $v.serviceAccount.name) }}
{{- fail "serviceAccount.create is false: set serviceAccount.name to the account that the operator shall use. The namespace's default account is not taken, since every pod there could use its rights" }}
{{- end }}

{{- /* Servers. */}}
{{- range $v.allowedServers }}
{{- if not (hasPrefix "https://" .) }}
{{- fail (printf "allowedServers: %q does not begin with https://: write scheme, host and port of a token URL, such as https://auth.example.com:8443" .) }}
{{- end }}
{{- if not (regexMatch "^https://([^/:@?#,\\s]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?/?$" .) }}
{{- fail (printf "allowedServers: %q has more or less in it than scheme, host and port: write it like https://auth.example.com:8443" .) }}
{{- end }}
{{- end }}
{{- if and $v.proxy.noProxy (not $v.proxy.https) }}
{{- fail "proxy.noProxy is set without proxy.https: there is no proxy to go around" }}
{{- end }}
{{- if and $v.proxy.https (not (regexMatch "^https?://" $v.proxy.https)) }}
{{- fail (printf "proxy.https %q does not begin with http:// or https://" $v.proxy.https) }}
{{- end }}

{{- /* Links. */}}
{{- $links := $v.links }}
{{- if and $links.publicURL (not (regexMatch "^https://[^/:@?#\\s]+(:[0-9]{1,5})?(/[^?#\\s]*)?$" $links.publicURL)) }}
{{- fail (printf "links.publicURL %q is no https URL under which people could reach the operator: write it like https://pleo.example.com" $links.publicURL) }}
{{- end }}
{{- if and (not $links.publicURL) (or $links.ingress.enabled $links.httpRoute.enabled $links.allowedReturns) }}
{{- fail "links.ingress, links.httpRoute and links.allowedReturns need links.publicURL: the URL under which people reach the operator" }}
{{- end }}
{{- if and $links.httpRoute.enabled (not $links.httpRoute.parentRefs) }}
{{- fail "links.httpRoute.enabled needs links.httpRoute.parentRefs: the gateways, as [{name: …, namespace: …}]" }}
{{- end }}
{{- if and $links.publicURL (eq (int $links.port) (int $v.metrics.port)) }}
{{- fail (printf "links.port and metrics.port are both %d: choose another for one of them" (int $links.port)) }}
{{- end }}

{{- /* Reports. */}}
{{- $port := int $v.reports.port }}
{{- if and $v.reports.enabled (eq $port (int $v.metrics.port)) }}
{{- fail (printf "reports.port and metrics.port are both %d: choose another for one of them" $port) }}
{{- end }}
{{- if and $v.reports.enabled $links.publicURL (eq $port (int $links.port)) }}
{{- fail (printf "reports.port and links.port are both %d: choose another for one of them" $port) }}
{{- end }}

{{- /* The webhook. */}}
{{- if and $v.webhook.url (not (regexMatch "^https?://[^/@#\\s]+(/[^#\\s]*)?$" $v.webhook.url)) }}
{{- fail (printf "webhook.url %q is not a URL that can be notified: write it like https://hooks.example.com/pleo" $v.webhook.url) }}
{{- end }}
{{- if and $v.webhook.url $v.webhook.urlKey }}
{{- fail "webhook.url and webhook.urlKey are both set: write the URL, or the key of the Secret that has it" }}
{{- end }}
{{- if and (or $v.webhook.url $v.webhook.urlKey) (not $v.webhook.secretName) }}
{{- fail "webhook.url needs webhook.secretName: a Secret with the key that signs. Make one: kubectl create secret generic pleo-webhook --from-literal=key=\"whsec_$(openssl rand -base64 32)\"" }}
{{- end }}
{{- if and $v.webhook.secretName (not (or $v.webhook.url $v.webhook.urlKey)) }}
{{- fail "webhook.secretName is set without webhook.url or webhook.urlKey: there is no one to notify" }}
{{- end }}

{{- /* Times. */}}
{{- range $key, $duration := dict "requestTimeout" $v.requestTimeout "leaderElection.leaseDuration" $v.leaderElection.leaseDuration }}
{{- if not (and $duration (regexMatch "^([0-9]{1,6}(\\.[0-9]{1,3})?h)?([0-9]{1,6}(\\.[0-9]{1,3})?m)?([0-9]{1,6}(\\.[0-9]{1,3})?s)?([0-9]{1,6}ms)?$" $duration)) }}
{{- fail (printf "%s %q is no duration: write it like 90s, 5m or 1h30m" $key $duration) }}
{{- end }}
{{- if lt (include "pleo-operator.milliseconds" $duration | int) 1000 }}
{{- fail (printf "%s %q is too short: 1s at least" $key $duration) }}
{{- end }}
{{- end }}
{{- if not (kindIs "invalid" $v.terminationGracePeriodSeconds) }}
{{- $least := add (include "pleo-operator.seconds" $v.requestTimeout | int) 15 | int }}
{{- if lt (int $v.terminationGracePeriodSeconds) $least }}
{{- fail (printf "terminationGracePeriodSeconds %d is too short for requestTimeout %s: a response on its way would be cut off, and its tokens lost. Write %d or more, or leave it out" (int $v.terminationGracePeriodSeconds) $v.requestTimeout $least) }}
{{- end }}
{{- end }}

{{- /* Telling pods. */}}
{{- if and (include "pleo-operator.notifyPods" .) (lt (int $v.notifyPods.perSecond) 1) }}
{{- fail "notifyPods.perSecond is 0 while notifyPods is on: to turn it off write notifyPods.enabled=false" }}
{{- end }}

{{- /* Disruptions. */}}
{{- if and $v.podDisruptionBudget.enabled (has (toString $v.podDisruptionBudget.maxUnavailable) (list "0" "0%")) }}
{{- fail "podDisruptionBudget.maxUnavailable is 0: no node with a replica could ever be drained. Write 1 or more, or podDisruptionBudget.enabled=false" }}
{{- end }}

{{- /* What the chart sets itself must be set by its value, because more than the flag hangs on it: rights, names, time-outs. */}}
{{- $own := dict
  "namespace" "namespaces"
  "allowed-server" "allowedServers"
  "lease-name" "leaderElection.leaseName"
  "lease-namespace" "nothing: it is the release's namespace"
  "lease-duration" "leaderElection.leaseDuration"
  "identity" "nothing: it is the pod's name"
  "request-timeout" "requestTimeout"
  "introspection" "introspection"
  "concurrency" "concurrency"
  "max-refusals" "maxRefusals"
  "admin-address" "metrics.host and metrics.port"
  "public-url" "links.publicURL"
  "link-address" "links.port"
  "allowed-return" "links.allowedReturns"
  "report-address" "reports.enabled and reports.port"
  "notify-url" "webhook.url or webhook.urlKey"
  "notify-key-file" "webhook.secretName"
  "log-format" "logFormat"
  "notify-pods-per-second" "notifyPods" }}
{{- range $v.extraArgs }}
{{- $flag := regexFind "^--[a-z-]+" (toString .) | trimPrefix "--" }}
{{- if hasKey $own $flag }}
{{- fail (printf "extraArgs: --%s is set by the chart; use %s" $flag (get $own $flag)) }}
{{- end }}
{{- end }}
{{- $ownVariables := dict "RUST_LOG" "logLevel" "HTTPS_PROXY" "proxy.https" "NO_PROXY" "proxy.noProxy" }}
{{- range $flag, $key := $own }}
{{- $_ := set $ownVariables (printf "PLEO_%s" ($flag | upper | replace "-" "_")) $key }}
{{- end }}
{{- range $v.extraEnv }}
{{- if hasKey $ownVariables .name }}
{{- fail (printf "extraEnv: %s is set by the chart; use %s" .name (get $ownVariables .name)) }}
{{- end }}
{{- end }}

{{- /* Metrics. */}}
{{- $metrics := $v.metrics }}
{{- if and $metrics.serviceMonitor.enabled (not $metrics.service.enabled) }}
{{- fail "metrics.serviceMonitor.enabled needs the Service: set metrics.service.enabled=true" }}
{{- end }}
{{- if and $v.networkPolicy.enabled $metrics.serviceMonitor.enabled (not $v.networkPolicy.scraper.namespaceSelector) (not $v.networkPolicy.scraper.podSelector) }}
{{- fail "networkPolicy.enabled would keep Prometheus from the pods: say with networkPolicy.scraper.namespaceSelector or .podSelector where it runs, or set metrics.serviceMonitor.enabled=false" }}
{{- end }}
{{- range $name, $_ := $metrics.prometheusRules.rules }}
{{- if not (hasKey ($.Files.Get "files/alerts.yaml" | fromYaml) $name) }}
{{- fail (printf "metrics.prometheusRules.rules: there is no alert %s" $name) }}
{{- end }}
{{- end }}
{{- end }}
