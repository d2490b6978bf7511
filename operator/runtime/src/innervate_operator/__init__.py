"""The Innervate operator: kopf wiring, reflectors, work queue, server-side apply."""
