package kubeclient

import (
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/json"
)

// Watch implements Decoder. It reads each event once: the decoder of client-go, which any kind can
// come to, reads each five times, and all metadata.
func (d decoder[Metadata, Spec]) Watch(body io.ReadCloser) watch.Decoder {
	return &stream[Metadata, Spec]{decoder: d, body: body, events: newJSONDecoder(body)}
}

// stream decodes a watch. It implements watch.Decoder.
type stream[Metadata, Spec any] struct {
	decoder[Metadata, Spec]

	body   io.Closer
	events json.Decoder
}

// event is an event of a watch. Its object is one of the kind or, if the type is ERROR, a
// metav1.Status, which have no fields in common but those of their kind and metadata.
type event[Metadata, Spec any] struct {
	Type   watch.EventType `json:"type"`
	Object struct {
		metav1.TypeMeta
		Metadata Metadata `json:"metadata"`
		Spec     Spec     `json:"spec"`

		Status  string                `json:"status"`
		Message string                `json:"message"`
		Reason  metav1.StatusReason   `json:"reason"`
		Details *metav1.StatusDetails `json:"details"`
		Code    int32                 `json:"code"`
	} `json:"object"`
}

// Decode implements watch.Decoder.
func (s *stream[Metadata, Spec]) Decode() (watch.EventType, runtime.Object, error) {
	var e event[Metadata, Spec]
	if err := s.events.Decode(&e); err != nil {
		return "", nil, err // io.EOF as it is
	}
	object := &e.Object
	switch e.Type {
	case watch.Added, watch.Modified, watch.Deleted, watch.Bookmark:
		if object.GroupVersionKind() != s.kind {
			return "", nil, fmt.Errorf("the watch of objects of the kind %s has sent a %s %s", s.kind.Kind, object.APIVersion, object.Kind)
		}
		return e.Type, s.toObject(&object.Metadata, &object.Spec), nil
	case watch.Error:
		if object.Kind != "Status" || object.APIVersion != "v1" {
			return "", nil, fmt.Errorf("the watch of objects of the kind %s has ended with a %s %s", s.kind.Kind, object.APIVersion, object.Kind)
		}
		return e.Type, &metav1.Status{
			TypeMeta: object.TypeMeta, Status: object.Status, Message: object.Message, Reason: object.Reason, Details: object.Details, Code: object.Code,
		}, nil
	}
	return "", nil, fmt.Errorf("the watch of objects of the kind %s has sent an event of type %q", s.kind.Kind, e.Type)
}

// Close implements watch.Decoder.
func (s *stream[Metadata, Spec]) Close() { _ = s.body.Close() }
