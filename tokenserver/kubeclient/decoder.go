package kubeclient

import (
	"bufio"
	"io"

	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/json"
)

// Decoder decodes what the API server sends of the objects of one kind, as JSON.
type Decoder interface {
	// List decodes a list. It passes each object to keep as soon as it is read, and returns what keep
	// returns instead of the objects.
	List(body io.Reader, keep func(runtime.Object) (runtime.Object, error)) (*internalversion.List, error)
	// Watch decodes the events of a watch.
	Watch(body io.ReadCloser) watch.Decoder
}

// NewDecoder returns a Decoder that reads the Metadata and the Spec of each object, from which
// toObject makes the object.
func NewDecoder[Metadata, Spec any](kind schema.GroupVersionKind, toObject func(*Metadata, *Spec) runtime.Object) Decoder {
	return decoder[Metadata, Spec]{kind, toObject}
}

type decoder[Metadata, Spec any] struct {
	kind     schema.GroupVersionKind
	toObject func(*Metadata, *Spec) runtime.Object
}

// readSize is how much is read of a body at once, in bytes. HTTP/2 answers each read with a frame
// that lets the API server send as much again.
const readSize = 64 << 10

func newJSONDecoder(body io.Reader) json.Decoder {
	return json.NewDecoderCaseSensitivePreserveInts(bufio.NewReaderSize(body, readSize))
}
