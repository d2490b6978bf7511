"""A NetworkPolicy enforcer for the local cluster: test equipment, not a network plugin.

The bridge plugin carries packets and enforces nothing; without an enforcer no
test could tell a policy that is missing from one that is right. One process per
node runs in the node's network namespace, watches policies, pods and namespaces,
and writes iptables rules for the pods of its node.

What it covers: ingress and egress, pod and namespace selectors, address blocks
with exceptions, numeric and named ports with ranges, isolation by default, answers
on established connections, traffic between pods of one node. A pod reaches its
own node and is reached from it, as Kubernetes has it. IPv4 only, and packets that
are refused are dropped without an answer. Ports are compared after a Service's
address was replaced by a pod's.

Rules stand in the ``mangle`` table: it sees a packet after the Service rules have
chosen its pod, and no other program here accepts packets in it.
"""
