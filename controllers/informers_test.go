package controllers

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func TestAnInformerAsksUntilTheAPIServerAnswers(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	forbidden := apierrors.NewForbidden(corev1.Resource("secrets"), "", errors.New("no"))
	ended, end := context.WithCancel(t.Context())
	end()
	for _, test := range []struct {
		name   string
		ctx    context.Context
		atMost time.Duration
		errs   []error
		asked  int
		want   error
	}{
		{name: "at once", ctx: t.Context(), atMost: time.Minute, errs: []error{nil}, asked: 1},
		{name: "in the end", ctx: t.Context(), atMost: time.Minute, errs: []error{refused, refused, refused, nil}, asked: 4},
		{name: "with an error", ctx: t.Context(), atMost: time.Minute, errs: []error{refused, forbidden, nil}, asked: 2, want: forbidden},
		{name: "when the context has ended", ctx: ended, atMost: time.Minute, errs: []error{refused}, asked: 1, want: refused},
		{name: "never", ctx: t.Context(), atMost: 20 * time.Millisecond, want: refused},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked := 0
			answer, err := retryUntilAnswered(test.ctx, time.Millisecond, test.atMost, func() (string, error) {
				asked++
				err := error(refused)
				if len(test.errs) >= asked {
					err = test.errs[asked-1]
				}
				if err != nil {
					return "", err
				}
				return "answered", nil
			})
			if !errors.Is(err, test.want) || (err == nil) != (answer == "answered") || test.asked > 0 && asked != test.asked {
				t.Errorf("asked %d times: %q, %v", asked, answer, err)
			}
		})
	}
}
