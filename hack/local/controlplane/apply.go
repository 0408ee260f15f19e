package controlplane

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"
)

const crdKind = "CustomResourceDefinition"

// establishTimeout is how long the API server may take to serve a new kind; it takes a fraction of
// a second when it is not busy.
const establishTimeout = time.Minute

var crdResource = apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")

// InstallCRDs applies the CustomResourceDefinitions in the *.yaml files of a directory and returns
// when the API server serves them and the garbage collector starts to know them.
func (cp *ControlPlane) InstallCRDs(ctx context.Context, dir string) error {
	objects, err := ReadDir(dir)
	if err != nil {
		return err
	}
	objects = slices.DeleteFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() != crdKind })
	if len(objects) == 0 {
		return fmt.Errorf("no %s in %s", crdKind, dir)
	}
	if err := applyObjects(ctx, cp.admin, "controlplane", objects); err != nil {
		return err
	}
	return cp.restartController()
}

// restartController makes the garbage collector read anew which kinds there are. It does so by
// itself only every 30 seconds; until then nothing is collected whose owner is of a new kind.
func (cp *ControlPlane) restartController() error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.stopped {
		return errors.New("the control plane is stopped")
	}
	if old := cp.controller; old != nil {
		cp.controller = nil // it does not fail, it is stopped
		old.Kill()
	}
	return cp.startController()
}

// Apply applies all objects of a YAML stream as the administrator. See the function Apply.
func (cp *ControlPlane) Apply(ctx context.Context, fieldManager string, documents []byte) error {
	return Apply(ctx, cp.admin, fieldManager, documents)
}

// Apply applies all objects of a YAML stream by server-side apply as the given field manager, which
// takes over fields that others own. Namespaces and CustomResourceDefinitions go first, in whatever
// order they are written; a new kind is waited for. Unknown and duplicate fields are errors, as
// with kubectl.
func Apply(ctx context.Context, c *rest.Config, fieldManager string, documents []byte) error {
	objects, err := Decode(documents)
	if err != nil {
		return err
	}
	return applyObjects(ctx, c, fieldManager, objects)
}

// Decode returns the objects of a YAML stream. Lists are taken apart.
func Decode(documents []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(documents)))
	for n := 1; ; n++ {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err == nil {
			objects, err = decodeOne(objects, document)
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
	}
}

func decodeOne(objects []*unstructured.Unstructured, document []byte) ([]*unstructured.Unstructured, error) {
	content, err := yaml.YAMLToJSONStrict(document)
	if err != nil || string(content) == "null" { // nothing but a comment
		return objects, err
	}
	var o unstructured.Unstructured
	if err := o.UnmarshalJSON(content); err != nil {
		return nil, err
	}
	if !o.IsList() {
		return append(objects, &o), nil
	}
	err = o.EachListItem(func(item runtime.Object) error {
		objects = append(objects, item.(*unstructured.Unstructured))
		return nil
	})
	return objects, err
}

// ReadDir decodes all *.yaml files of a directory, in the order of their names, but for what is
// kustomize's own.
func ReadDir(dir string) ([]*unstructured.Unstructured, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var all []*unstructured.Unstructured
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		objects, err := Decode(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, o := range objects {
			if o.GroupVersionKind().Group != "kustomize.config.k8s.io" {
				all = append(all, o)
			}
		}
	}
	return all, nil
}

// ApplyDir applies all *.yaml files of a directory as the administrator.
func (cp *ControlPlane) ApplyDir(ctx context.Context, fieldManager, dir string) error {
	objects, err := ReadDir(dir)
	if err != nil {
		return err
	}
	if len(objects) == 0 {
		return fmt.Errorf("there is nothing to apply in %s", dir)
	}
	return applyObjects(ctx, cp.admin, fieldManager, objects)
}

func applyObjects(ctx context.Context, c *rest.Config, fieldManager string, objects []*unstructured.Unstructured) error {
	client, err := dynamic.NewForConfig(c)
	if err != nil {
		return err
	}
	kinds, err := discovery.NewDiscoveryClientForConfig(c)
	if err != nil {
		return err
	}
	a := &applier{client: client, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(kinds)), manager: fieldManager}

	objects = slices.Clone(objects)
	slices.SortStableFunc(objects, func(x, y *unstructured.Unstructured) int { return rank(x) - rank(y) })
	for i, o := range objects {
		if err := a.apply(ctx, o); err != nil {
			return err
		}
		if o.GetKind() == crdKind && (i+1 == len(objects) || objects[i+1].GetKind() != crdKind) {
			if err := a.waitForKinds(ctx, objects[:i+1]); err != nil {
				return err
			}
		}
	}
	return nil
}

func rank(o *unstructured.Unstructured) int {
	switch o.GetKind() {
	case "Namespace":
		return 0
	case crdKind:
		return 1
	}
	return 2
}

type applier struct {
	client  dynamic.Interface
	mapper  *restmapper.DeferredDiscoveryRESTMapper
	manager string
}

func (a *applier) apply(ctx context.Context, o *unstructured.Unstructured) error {
	name := fmt.Sprintf("%s %s", o.GetKind(), o.GetName())
	if o.GetNamespace() != "" {
		name = fmt.Sprintf("%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName())
	}
	resource, err := a.resource(o)
	if err != nil {
		return fmt.Errorf("applying %s: %w", name, err)
	}
	content, err := o.MarshalJSON()
	if err != nil {
		return fmt.Errorf("applying %s: %w", name, err)
	}
	force := true
	_, err = resource.Patch(ctx, o.GetName(), types.ApplyPatchType, content, metav1.PatchOptions{
		FieldManager: a.manager, Force: &force, FieldValidation: metav1.FieldValidationStrict,
	})
	if err != nil {
		return fmt.Errorf("applying %s: %w", name, err)
	}
	return nil
}

func (a *applier) resource(o *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	gvk := o.GroupVersionKind()
	mapping, err := a.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return a.client.Resource(mapping.Resource), nil
	}
	namespace := o.GetNamespace()
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	return a.client.Resource(mapping.Resource).Namespace(namespace), nil
}

// waitForKinds returns when each of the definitions is established and what it defines can be
// listed.
func (a *applier) waitForKinds(ctx context.Context, objects []*unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeout(ctx, establishTimeout)
	defer cancel()
	for _, o := range objects {
		if o.GetKind() != crdKind {
			continue
		}
		for {
			err := a.established(ctx, o.GetName())
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("waiting for %s %s: %w", crdKind, o.GetName(), errors.Join(err, ctx.Err()))
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	a.mapper.Reset()
	return nil
}

func (a *applier) established(ctx context.Context, name string) error {
	o, err := a.client.Resource(crdResource).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &crd); err != nil {
		return err
	}
	ready := false
	for _, condition := range crd.Status.Conditions {
		switch {
		case condition.Type == apiextensionsv1.NamesAccepted && condition.Status == apiextensionsv1.ConditionFalse:
			return fmt.Errorf("its names are refused: %s", condition.Message)
		case condition.Type == apiextensionsv1.Established:
			ready = condition.Status == apiextensionsv1.ConditionTrue
		}
	}
	if !ready {
		return errors.New("it is not established")
	}
	for _, version := range crd.Spec.Versions {
		if !version.Served {
			continue
		}
		resource := schema.GroupVersionResource{Group: crd.Spec.Group, Version: version.Name, Resource: crd.Spec.Names.Plural}
		if _, err := a.client.Resource(resource).List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
			return err
		}
	}
	return nil
}
