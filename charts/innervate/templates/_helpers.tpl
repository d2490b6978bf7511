{{/* Every name is fixed: the operator finds its Service, Secret and Lease by name, so a namespace holds one release. */}}
{{- define "innervate.name" -}}innervate-operator{{- end -}}

{{/* Cluster-scoped objects carry the namespace, so that several namespaced operators can share a cluster. */}}
{{- define "innervate.clusterName" -}}{{ .Release.Namespace }}:innervate-operator{{- end -}}

{{- define "innervate.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "innervate.name" .) -}}
{{- end -}}

{{- define "innervate.selectorLabels" -}}
app.kubernetes.io/name: innervate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "innervate.labels" -}}
{{ include "innervate.commonLabels" . }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "innervate.commonLabels" -}}
app.kubernetes.io/name: innervate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: innervate
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Prefix of image names: empty, or ending in a slash. */}}
{{- define "innervate.registry" -}}
{{- with .Values.image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- end -}}

{{/* Image of a service, as the operator itself chooses it. Call with (dict "root" $ "service" "memory"). */}}
{{- define "innervate.image" -}}
{{- $tag := .root.Values.image.tag | default .root.Chart.AppVersion -}}
{{- get .root.Values.images .service | default (printf "%sinnervate/%s:%s" (include "innervate.registry" .root) .service $tag) -}}
{{- end -}}

{{- define "innervate.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What every container of ours runs under: the restricted Pod Security Standard and more. */}}
{{- define "innervate.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "innervate.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Port of a URL, or the OTLP one. */}}
{{- define "innervate.port" -}}
{{- regexFind ":[0-9]+$" (urlParse .).host | trimPrefix ":" | default "4317" -}}
{{- end -}}

{{/* The operator's settings that have a value, by environment variable. */}}
{{- define "innervate.settings" -}}
INNERVATE_SERVICE_ACCOUNT: {{ include "innervate.serviceAccount" . | quote }}
INNERVATE_TRUST_DOMAIN: {{ .Values.trustDomain | quote }}
INNERVATE_REGISTRY: {{ include "innervate.registry" . | quote }}
INNERVATE_VERSION: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
INNERVATE_IMAGE_PULL_POLICY: {{ .Values.image.pullPolicy | quote }}
INNERVATE_LOG_LEVEL: {{ .Values.log.level | quote }}
INNERVATE_LOG_FORMAT: {{ .Values.log.format | quote }}
INNERVATE_WORKERS: {{ .Values.reconcile.workers | quote }}
INNERVATE_RESYNC_SECONDS: {{ .Values.reconcile.resyncSeconds | quote }}
{{- with .Values.images }}
INNERVATE_IMAGES: {{ toJson . | quote }}
{{- end }}
{{- with .Values.image.pullSecrets }}
INNERVATE_IMAGE_PULL_SECRETS: {{ join "," . | quote }}
{{- end }}
{{- with .Values.watchNamespaces }}
INNERVATE_WATCH_NAMESPACES: {{ join "," . | quote }}
{{- end }}
{{- if .Values.computePools }}
INNERVATE_COMPUTE_POOLS: /etc/innervate/compute-pools/compute-pools.yaml
{{- end }}
{{- with .Values.telemetry.otlpEndpoint }}
INNERVATE_OTLP_ENDPOINT: {{ . | quote }}
{{- end }}
{{- end -}}
