package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/oauth-operator/oauth-operator/api/v1alpha1"
)

// manifest are objects of a file, which are not applied yet.
type manifest struct {
	given           bool
	clients         []*v1alpha1.OAuthClient
	servers         []*v1alpha1.AuthorizationServer
	resourceServers []v1alpha1.ResourceServer
	providers       []v1alpha1.IdentityProvider
	namespaces      map[string]map[string]string // their labels
	secrets         []*corev1.Secret
	configMaps      []*corev1.ConfigMap
}

// readManifest reads a file if one is given. Objects without a namespace are in the caller's.
func (g *gatherer) readManifest(o *options, path, namespace string) error {
	if path == "" {
		return nil
	}
	content, err := readFile(o, path)
	if err != nil {
		return err
	}
	g.manifest = manifest{given: true, namespaces: map[string]map[string]string{}}
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for n := 1; ; n++ {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = g.manifest.add(document, namespace)
		}
		if err != nil {
			return fmt.Errorf("%s, document %d: %w", path, n, err)
		}
	}
}

func readFile(o *options, path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(o.in)
	}
	return os.ReadFile(path)
}

// add adds the object of a document. Kinds that decide nothing are passed over, as are documents of
// nothing but comments. A field that the kind does not have is an error: a manifest with a misspelt
// constraint would be explained as one without it.
func (m *manifest) add(document []byte, namespace string) error {
	var meta metav1.PartialObjectMetadata
	if err := yaml.Unmarshal(document, &meta); err != nil {
		return err
	}
	switch meta.APIVersion {
	case "v1":
		return m.addCore(meta.Kind, document, namespace)
	case v1alpha1.GroupVersion.String():
	default:
		return nil
	}
	switch meta.Kind {
	case "OAuthClient":
		c := &v1alpha1.OAuthClient{}
		m.clients = append(m.clients, c)
		return decode(document, c, namespace)
	case "AuthorizationServer":
		s := &v1alpha1.AuthorizationServer{}
		m.servers = append(m.servers, s)
		return decode(document, s, namespace)
	case "ResourceServer":
		var rs v1alpha1.ResourceServer
		err := decode(document, &rs, namespace)
		m.resourceServers = append(m.resourceServers, rs)
		return err
	case "IdentityProvider":
		var p v1alpha1.IdentityProvider
		err := decode(document, &p, namespace)
		p.UID = "" // as kubectl get -o yaml has it: its status is not about what is in the manifest
		m.providers = append(m.providers, p)
		return err
	}
	return nil
}

// addCore adds an object of Kubernetes.
func (m *manifest) addCore(kind string, document []byte, namespace string) error {
	switch kind {
	case "Namespace":
		var n corev1.Namespace
		if err := yaml.UnmarshalStrict(document, &n); err != nil {
			return err
		}
		// The label that the API server sets.
		m.namespaces[n.Name] = map[string]string{corev1.LabelMetadataName: n.Name}
		maps.Copy(m.namespaces[n.Name], n.Labels)
	case "Secret":
		s := &corev1.Secret{Data: map[string][]byte{}}
		if err := yaml.UnmarshalStrict(document, s); err != nil {
			return err
		}
		for key, text := range s.StringData { // as the API server does
			s.Data[key] = []byte(text)
		}
		s.Namespace = cmp.Or(s.Namespace, namespace)
		m.secrets = append(m.secrets, s)
	case "ConfigMap":
		c := &corev1.ConfigMap{}
		if err := yaml.UnmarshalStrict(document, c); err != nil {
			return err
		}
		c.Namespace = cmp.Or(c.Namespace, namespace)
		m.configMaps = append(m.configMaps, c)
	}
	return nil
}

func decode(document []byte, object client.Object, namespace string) error {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	serializer := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})
	if _, _, err := serializer.Decode(document, nil, object); err != nil {
		return err
	}
	if object.GetNamespace() == "" {
		object.SetNamespace(namespace)
	}
	return nil
}

// overlay returns the objects of the cluster, with those of the manifest in place of the ones of the
// same name.
func overlay[T any, P interface {
	*T
	client.Object
}](applied, manifest []T) []T {
	all := slices.DeleteFunc(applied, func(a T) bool {
		return slices.ContainsFunc(manifest, func(m T) bool { return client.ObjectKeyFromObject(P(&m)) == client.ObjectKeyFromObject(P(&a)) })
	})
	return append(all, manifest...)
}
