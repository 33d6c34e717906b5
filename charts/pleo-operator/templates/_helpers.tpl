{{/* Names, labels, and what is worked out from the values. */}}

{{- define "pleo-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* 52 characters, so that what is put behind it stays within the 63 of a name. */}}
{{- define "pleo-operator.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* For what is not in the release's own namespace: two releases of one name in two namespaces must not share it. */}}
{{- define "pleo-operator.clusterName" -}}
{{- printf "%s.%s" (include "pleo-operator.fullname" .) .Release.Namespace }}
{{- end }}

{{- define "pleo-operator.serviceAccountName" -}}
{{- default (include "pleo-operator.fullname" .) .Values.serviceAccount.name }}
{{- end }}

{{- define "pleo-operator.leaseName" -}}
{{- default (include "pleo-operator.fullname" .) .Values.leaderElection.leaseName }}
{{- end }}

{{- define "pleo-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "pleo-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of all objects. The chart's own win over the user's, since selectors hang on them. */}}
{{- define "pleo-operator.labels" -}}
{{- include "pleo-operator.labelsWith" (list . dict) }}
{{- end }}

{{/* The same with more of them: a list of the context and a map. */}}
{{- define "pleo-operator.labelsWith" -}}
{{- $root := index . 0 }}
{{- $own := include "pleo-operator.selectorLabels" $root | fromYaml }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- $_ := set $own "app.kubernetes.io/version" $root.Chart.AppVersion }}
{{- $_ := set $own "app.kubernetes.io/part-of" "pleo-operator" }}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service }}
{{- mergeOverwrite dict $root.Values.commonLabels (index . 1) $own | toYaml }}
{{- end }}

{{- define "pleo-operator.image" -}}
{{- $image := .Values.image }}
{{- if $image.digest }}
{{- printf "%s@%s" $image.repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) }}
{{- end }}
{{- end }}

{{/* "true" where the whole cluster is looked after, else empty. */}}
{{- define "pleo-operator.clusterWide" -}}
{{- if not .Values.namespaces }}true{{ end }}
{{- end }}

{{/* "true" where pods are notified of rotations. By default: where the chart can narrow the right to patch pods. */}}
{{- define "pleo-operator.notifyPods" -}}
{{- if kindIs "invalid" .Values.notifyPods.enabled }}
{{- if and (include "pleo-operator.clusterWide" .) .Values.rbac.create .Values.admissionPolicy.enabled }}true{{ end }}
{{- else if .Values.notifyPods.enabled }}true{{ end }}
{{- end }}

{{/* Milliseconds of a duration such as 1h30m, 90s or 250ms. */}}
{{- define "pleo-operator.milliseconds" -}}
{{- $total := 0.0 }}
{{- range regexFindAll "[0-9]+(\\.[0-9]+)?(ms|h|m|s)" . -1 }}
{{- $number := regexFind "^[0-9.]+" . | float64 }}
{{- $unit := regexFind "[a-z]+$" . }}
{{- $total = addf $total (mulf $number (get (dict "h" 3600000.0 "m" 60000.0 "s" 1000.0 "ms" 1.0) $unit)) }}
{{- end }}
{{- ceil $total | int }}
{{- end }}

{{/* Seconds of it, rounded up. */}}
{{- define "pleo-operator.seconds" -}}
{{- divf (include "pleo-operator.milliseconds" . | float64) 1000.0 | ceil | int }}
{{- end }}

{{- define "pleo-operator.gracePeriod" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds }}
{{- add (include "pleo-operator.seconds" .Values.requestTimeout | int) 30 }}
{{- else }}
{{- .Values.terminationGracePeriodSeconds | int }}
{{- end }}
{{- end }}

{{/* Ports that exchanges go to: those of the values, of the allowed servers and of the proxy. As a JSON list. */}}
{{- define "pleo-operator.httpsPorts" -}}
{{- $ports := list }}
{{- range .Values.networkPolicy.https.ports }}{{ $ports = append $ports (int .) }}{{ end }}
{{- range .Values.allowedServers }}
{{- with regexFind ":[0-9]+$" (trimSuffix "/" .) }}{{ $ports = append $ports (trimPrefix ":" . | int) }}{{ end }}
{{- end }}
{{- with .Values.proxy.https }}
{{- $port := regexFind ":[0-9]+/?$" . | trimPrefix ":" | trimSuffix "/" }}
{{- if $port }}{{ $ports = append $ports (int $port) }}
{{- else }}{{ $ports = append $ports (ternary 80 443 (hasPrefix "http://" .)) }}{{ end }}
{{- end }}
{{- $ports | uniq | toJson }}
{{- end }}

{{/* How the operator's own series are chosen: as the ServiceMonitor labels them, unless the values say otherwise. */}}
{{- define "pleo-operator.seriesSelector" -}}
{{- default (printf "job=%q,namespace=%q" (include "pleo-operator.fullname" .) .Release.Namespace) .Values.metrics.prometheusRules.selector }}
{{- end }}

{{/* What the operator may do with connections, Secrets, events, pods and workloads, wherever it looks after them. */}}
{{- define "pleo-operator.rules" -}}
# The declarations. It never changes one.
- apiGroups: [pleo.io]
  resources: [pleoconnections]
  verbs: [get, list, watch]
# Conditions and times: the one part of a connection that is the operator's.
- apiGroups: [pleo.io]
  resources: [pleoconnections/status]
  verbs: [update]
# It reads what users give (client, first refresh token), and keeps grants and token Secrets. `list` finds a refresh
# token that two connections share; `patch` also removes a used token from the user's Secret; `delete` is for the old
# token Secret after a change of spec.secretName. RBAC cannot tell Secrets apart by label or type, and their names are
# the users' choice.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch, delete]
# One event for each change of a condition.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- if include "pleo-operator.notifyPods" . }}
# Pods are notified of a rotation by an annotation: `list` finds those with the label pleo.io/connection, `patch` sets it.
{{- if and (include "pleo-operator.clusterWide" .) .Values.admissionPolicy.enabled }}
# The admission policy refuses every other change.
{{- end }}
- apiGroups: [""]
  resources: [pods]
  verbs: [list, patch]
{{- end }}
{{- if .Values.restartTargets.enabled }}
# Restarts of what spec.restartTargets names, by an annotation of its pod template.
{{- if and (include "pleo-operator.clusterWide" .) .Values.admissionPolicy.enabled }}
# The admission policy refuses every other change.
{{- end }}
- apiGroups: [apps]
  resources: [deployments, statefulsets, daemonsets]
  verbs: [patch]
{{- end }}
{{- end }}
