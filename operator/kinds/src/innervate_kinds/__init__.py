"""Pure models, plans and statuses of Innervate's kinds."""
