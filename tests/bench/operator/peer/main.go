// A controller-runtime operator that does what the bench room does: five children by server-side apply and
// a status, for every Bundle. It is written the way the Kubebuilder book teaches: children are applied on
// each reconcile, the status is written when it differs.
package main

import (
	"context"
	"errors"
	"os"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	applyapps "k8s.io/client-go/applyconfigurations/apps/v1"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	applymeta "k8s.io/client-go/applyconfigurations/meta/v1"
	applynetworking "k8s.io/client-go/applyconfigurations/networking/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// Reconciles at the same time, as in the operator it is compared with.
const workers = 16

type reconciler struct{ client.Client }

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	bundle := &Bundle{}
	if err := r.Get(ctx, request.NamespacedName, bundle); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	for _, child := range children(bundle) {
		if err := r.Apply(ctx, child, client.FieldOwner("peer"), client.ForceOwnership); err != nil {
			return ctrl.Result{}, err
		}
	}
	before := bundle.Status.DeepCopy()
	bundle.Status.ObservedGeneration = bundle.Generation
	meta.SetStatusCondition(&bundle.Status.Conditions, metav1.Condition{
		Type: "Ready", Status: metav1.ConditionTrue, Reason: "Applied", Message: "",
		ObservedGeneration: bundle.Generation,
	})
	if equality.Semantic.DeepEqual(*before, bundle.Status) {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, r.Status().Update(ctx, bundle)
}

func children(bundle *Bundle) []runtime.ApplyConfiguration {
	name, namespace := bundle.Name, bundle.Namespace
	labels := map[string]string{"app.kubernetes.io/instance": name}
	selector := applymeta.LabelSelector().WithMatchLabels(labels)
	owner := applymeta.OwnerReference().
		WithAPIVersion(groupVersion.String()).WithKind("Bundle").WithName(name).WithUID(bundle.UID).
		WithController(true).WithBlockOwnerDeletion(true)
	return []runtime.ApplyConfiguration{
		applycore.ServiceAccount(name, namespace).WithLabels(labels).WithOwnerReferences(owner).
			WithAutomountServiceAccountToken(false),
		applycore.ConfigMap(name, namespace).WithLabels(labels).WithOwnerReferences(owner).
			WithData(map[string]string{"text": bundle.Spec.Text}),
		applycore.Service(name, namespace).WithLabels(labels).WithOwnerReferences(owner).
			WithSpec(applycore.ServiceSpec().WithSelector(labels).
				WithPorts(applycore.ServicePort().WithName("grpc").WithProtocol(corev1.ProtocolTCP).
					WithPort(7443).WithTargetPort(intstr.FromInt32(7443)))),
		applyapps.Deployment(name, namespace).WithLabels(labels).WithOwnerReferences(owner).
			WithSpec(applyapps.DeploymentSpec().WithReplicas(0).WithSelector(selector).
				WithTemplate(applycore.PodTemplateSpec().WithLabels(labels).
					WithSpec(applycore.PodSpec().WithServiceAccountName(name).
						WithContainers(applycore.Container().WithName("main").WithImage("example.test/main:1"))))),
		applynetworking.NetworkPolicy(name, namespace).WithLabels(labels).WithOwnerReferences(owner).
			WithSpec(applynetworking.NetworkPolicySpec().WithPodSelector(selector).
				WithPolicyTypes(networkingv1.PolicyTypeIngress)),
	}
}

func run() error {
	if len(os.Args) != 3 {
		return errors.New("usage: peer KUBECONFIG RESYNC_SECONDS")
	}
	ctrl.SetLogger(zap.New(zap.UseDevMode(false)))
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	if err != nil {
		return err
	}
	seconds, err := strconv.Atoi(os.Args[2])
	if err != nil {
		return err
	}
	resync := time.Duration(seconds) * time.Second
	// The client's own limit of 20 requests a second would measure the limit.
	config.QPS = -1
	if err := addToScheme(scheme.Scheme); err != nil {
		return err
	}
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                        scheme.Scheme,
		Metrics:                       server.Options{BindAddress: "0"},
		Cache:                         cache.Options{SyncPeriod: &resync},
		LeaderElection:                true,
		LeaderElectionID:              "peer",
		LeaderElectionNamespace:       "default",
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return err
	}
	err = ctrl.NewControllerManagedBy(manager).
		For(&Bundle{}).
		Owns(&corev1.ServiceAccount{}).
		Owns(&corev1.ConfigMap{}).
		Owns(&corev1.Service{}).
		Owns(&appsv1.Deployment{}).
		Owns(&networkingv1.NetworkPolicy{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(&reconciler{manager.GetClient()})
	if err != nil {
		return err
	}
	return manager.Start(ctrl.SetupSignalHandler())
}

func main() {
	if err := run(); err != nil {
		ctrl.Log.Error(err, "ended")
		os.Exit(1)
	}
}
