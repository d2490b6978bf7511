"""What an operator's own set-up adds to plans, where a test has nothing particular in mind."""

from innervate_kinds.api.plan import Config, Trust


def config() -> Config:
    return Config(
        version="0.1.0",
        namespace="innervate-system",
        service_account="innervate-operator",
        trust_domain="innervate.local",
        identity_endpoint="innervate-identity.innervate-system.svc:7443",
        trust=Trust(ca_bundle="none", jwks="{}", issuer="issuer"),
        registry="",
        images={},
        image_pull_policy="IfNotPresent",
        image_pull_secrets=(),
        otlp_endpoint=None,
    )
