package main

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var groupVersion = schema.GroupVersion{Group: "bench.innervate.dev", Version: "v1"}

// Bundle is the bench kind: it stands for five children.
type Bundle struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              BundleSpec   `json:"spec,omitempty"`
	Status            BundleStatus `json:"status,omitempty"`
}

// BundleSpec is what a ConfigMap child carries.
type BundleSpec struct {
	Text string `json:"text,omitempty"`
}

// BundleStatus says whether the children are as the spec wants them.
type BundleStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

// BundleList is a list of Bundles.
type BundleList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Bundle `json:"items"`
}

// DeepCopy copies everything the status holds.
func (s *BundleStatus) DeepCopy() *BundleStatus {
	copied := *s
	copied.Conditions = make([]metav1.Condition, len(s.Conditions))
	for index := range s.Conditions {
		s.Conditions[index].DeepCopyInto(&copied.Conditions[index])
	}
	return &copied
}

func (b *Bundle) copyInto(out *Bundle) {
	*out = *b
	b.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	out.Status = *b.Status.DeepCopy()
}

// DeepCopyObject makes Bundle a runtime.Object.
func (b *Bundle) DeepCopyObject() runtime.Object {
	out := &Bundle{}
	b.copyInto(out)
	return out
}

// DeepCopyObject makes BundleList a runtime.Object.
func (l *BundleList) DeepCopyObject() runtime.Object {
	out := &BundleList{TypeMeta: l.TypeMeta}
	l.ListMeta.DeepCopyInto(&out.ListMeta)
	out.Items = make([]Bundle, len(l.Items))
	for index := range l.Items {
		l.Items[index].copyInto(&out.Items[index])
	}
	return out
}

func addToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(groupVersion, &Bundle{}, &BundleList{})
	metav1.AddToGroupVersion(scheme, groupVersion)
	return nil
}
