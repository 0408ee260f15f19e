package kubeclient

import (
	"context"
	gojson "encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/json"
)

// PageSize is how many objects one request of a reflector lists. The API server copies the objects of
// a page before it encodes them, which takes some 30 MB for so many, and must have sent the page
// within its --request-timeout.
const PageSize = 5000

// list lists a page of the objects. The first page is of those that exist now, in etcd and not in the
// memory of an API server that may be behind, and the next ones are of the same moment.
func (w Watch) list(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	o.LabelSelector, o.ResourceVersion, o.ResourceVersionMatch = w.LabelSelector, "", ""
	page, err := w.readList(ctx, w.Client.Get().Namespace(w.Namespace).Resource(w.Resource).VersionedParams(&o, metav1.ParameterCodec))
	if err != nil {
		return nil, err
	}
	if !isWhole(page) {
		return nil, fmt.Errorf("the list of %s is not whole", w.Resource)
	}
	return page, nil
}

// isWhole reports whether a page has what the API server sends with each. Of one that has lost its
// metadata the reflector would take the list to end there, and of one that has lost its items that there
// are none: what the list lacks would count as deleted.
func isWhole(page runtime.Object) bool {
	m, err := meta.ListAccessor(page)
	if err != nil || m.GetResourceVersion() == "" {
		return false
	}
	items, err := meta.GetItemsPtr(page)
	return err == nil && !reflect.ValueOf(items).Elem().IsNil() // an empty list is not nil
}

func (w Watch) readList(ctx context.Context, request *rest.Request) (runtime.Object, error) {
	if w.Decoder == nil {
		return request.Do(ctx).Get()
	}
	body, err := request.Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	keep := w.Keep
	if keep == nil {
		keep = func(o runtime.Object) (runtime.Object, error) { return o, nil }
	}
	return w.Decoder.List(body, keep)
}

// List implements Decoder.
func (d decoder[Metadata, Spec]) List(body io.Reader, keep func(runtime.Object) (runtime.Object, error)) (*internalversion.List, error) {
	list, in := &internalversion.List{}, newJSONDecoder(body)
	err := eachField(in, func(field string) error {
		switch field {
		case "kind":
			return in.Decode(&list.Kind)
		case "apiVersion":
			return in.Decode(&list.APIVersion)
		case "metadata":
			return in.Decode(&list.ListMeta)
		case "items":
			return d.readItems(in, list, keep)
		}
		return in.Decode(new(gojson.RawMessage))
	})
	if err != nil {
		return nil, fmt.Errorf("reading a list of objects of the kind %s: %w", d.kind.Kind, err)
	}
	if want := d.kind.GroupVersion().WithKind(d.kind.Kind + "List"); list.GroupVersionKind() != want {
		return nil, fmt.Errorf("the list of objects of the kind %s is a %s %s", d.kind.Kind, list.APIVersion, list.Kind)
	}
	return list, nil
}

func (d decoder[Metadata, Spec]) readItems(in json.Decoder, list *internalversion.List, keep func(runtime.Object) (runtime.Object, error)) error {
	if err := expect(in, gojson.Delim('[')); err != nil {
		return err
	}
	list.Items = []runtime.Object{}
	for in.More() {
		var item struct {
			metav1.TypeMeta

			Metadata Metadata `json:"metadata"`
			Spec     Spec     `json:"spec"`
		}
		if err := in.Decode(&item); err != nil {
			return err
		}
		if item.GroupVersionKind() != d.kind {
			return fmt.Errorf("an item is a %s %s", item.APIVersion, item.Kind)
		}
		kept, err := keep(d.toObject(&item.Metadata, &item.Spec))
		if err != nil {
			return err
		}
		list.Items = append(list.Items, kept)
	}
	return expect(in, gojson.Delim(']'))
}

// eachField calls read for each field of an object, which must read the value.
func eachField(in json.Decoder, read func(field string) error) error {
	if err := expect(in, gojson.Delim('{')); err != nil {
		return err
	}
	for in.More() {
		field, err := in.Token()
		if err != nil {
			return err
		}
		name, _ := field.(string) // the decoder lets a field have no other name
		if err := read(name); err != nil {
			return err
		}
	}
	return expect(in, gojson.Delim('}'))
}

func expect(in json.Decoder, want gojson.Delim) error {
	token, err := in.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && token != gojson.Token(want) {
		err = fmt.Errorf("there is no %s where one belongs", want)
	}
	return err
}
