"""What every room shares: resources, conditions, plans, quantities, names. Imports nothing of ours."""
