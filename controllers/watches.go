package controllers

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// watches adds to a controller what it watches beside the kind that it is for: one handler for each
// kind, whatever becomes of its events. An informer hands each event to each of its handlers through
// two goroutines and a buffer, which keeps the size of the first list: Entries had 22, of which each
// event is for one or two.
type watches struct {
	mgr     ctrl.Manager
	builder *builder.Builder
	kinds   []watchedKind
	err     error
}

// watchedKind is a kind and what becomes of the events of its objects.
type watchedKind struct {
	schema.GroupVersionKind

	object   client.Object
	handlers handlers
}

func watchesOf(mgr ctrl.Manager, b *builder.Builder) *watches { return &watches{mgr: mgr, builder: b} }

// Watches is as builder.Builder.Watches is.
func (w *watches) Watches(object client.Object, h handler.EventHandler, predicates ...predicate.Predicate) *watches {
	kind, err := apiutil.GVKForObject(object, w.mgr.GetScheme())
	if err != nil {
		w.err = err
		return w
	}
	i := slices.IndexFunc(w.kinds, func(known watchedKind) bool { return known.GroupVersionKind == kind })
	if i < 0 {
		i = len(w.kinds)
		w.kinds = append(w.kinds, watchedKind{GroupVersionKind: kind, object: object})
	}
	w.kinds[i].handlers = append(w.kinds[i].handlers, predicated{h, predicate.And(predicates...)})
	return w
}

// Complete is as builder.Builder.Complete is.
func (w *watches) Complete(r reconcile.Reconciler) error {
	if w.err != nil {
		return w.err
	}
	for _, kind := range w.kinds {
		w.builder.Watches(kind.object, kind.handlers)
	}
	return w.builder.Complete(r)
}

// handlers calls each of the handlers with the events that are for it.
type handlers []predicated

// predicated is a handler and which events are for it.
type predicated struct {
	handler.EventHandler
	predicate.Predicate
}

// Create implements handler.EventHandler.
func (all handlers) Create(ctx context.Context, e event.CreateEvent, q requestQueue) {
	for _, h := range all {
		if h.Predicate.Create(e) {
			h.EventHandler.Create(ctx, e, q)
		}
	}
}

// Update implements handler.EventHandler. After a watch was lost, what became of a name meanwhile is
// one update, also if it is another object's now: that is a deletion and a creation, as the watch would
// have told.
func (all handlers) Update(ctx context.Context, e event.UpdateEvent, q requestQueue) {
	if e.ObjectOld.GetUID() != e.ObjectNew.GetUID() {
		all.Delete(ctx, event.DeleteEvent{Object: e.ObjectOld}, q)
		all.Create(ctx, event.CreateEvent{Object: e.ObjectNew}, q)
		return
	}
	for _, h := range all {
		if h.Predicate.Update(e) {
			h.EventHandler.Update(ctx, e, q)
		}
	}
}

// Delete implements handler.EventHandler.
func (all handlers) Delete(ctx context.Context, e event.DeleteEvent, q requestQueue) {
	for _, h := range all {
		if h.Predicate.Delete(e) {
			h.EventHandler.Delete(ctx, e, q)
		}
	}
}

// Generic implements handler.EventHandler.
func (all handlers) Generic(ctx context.Context, e event.GenericEvent, q requestQueue) {
	for _, h := range all {
		if h.Predicate.Generic(e) {
			h.EventHandler.Generic(ctx, e, q)
		}
	}
}
