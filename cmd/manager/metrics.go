package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const (
	// reviewTimeout is how long the API server may take to say who asks for metrics and whether
	// they may, less than the ten seconds that Prometheus waits.
	reviewTimeout = 5 * time.Second
	// maxReviews is how many requests for metrics ask the API server at a time. Any
	// client that reaches the port could else have the manager ask without end.
	maxReviews = 4
)

// metricsOptions are the flags of the metrics endpoint.
type metricsOptions struct {
	address string
	secure  bool
	certDir string
}

// server returns the options of the metrics server: TLS, and only for whom the API server lets
// read /metrics, unless that is turned off.
func (o metricsOptions) server() (metricsserver.Options, error) {
	if o.certDir != "" { // controller-runtime would make a certificate of its own if there is none
		for _, file := range []string{"tls.crt", "tls.key"} {
			if _, err := os.Stat(filepath.Join(o.certDir, file)); err != nil {
				return metricsserver.Options{}, fmt.Errorf("--metrics-cert-dir must have the files tls.crt and tls.key: %w", err)
			}
		}
	}
	options := metricsserver.Options{BindAddress: o.address, SecureServing: o.secure, CertDir: o.certDir}
	if o.secure {
		options.FilterProvider = reviewed
	}
	return options, nil
}

// reviewed admits requests that carry a bearer token of a user who may "get" the non-resource URL
// /metrics, by TokenReview and SubjectAccessReview. controller-runtime's own filter does the same
// by means of k8s.io/apiserver, which would double the number of modules in this program.
func reviewed(api *rest.Config, client *http.Client) (metricsserver.Filter, error) {
	cluster, err := kubernetes.NewForConfigAndClient(api, client)
	if err != nil {
		return nil, err
	}
	r := &reviewer{cluster: cluster, slots: make(chan struct{}, maxReviews)}
	return func(log logr.Logger, next http.Handler) (http.Handler, error) {
		return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			status, err := r.review(request)
			switch {
			case err != nil:
				log.Error(err, "asking who may read metrics")
				http.Error(w, "The API server could not be asked; see the manager's log.", status)
			case status == http.StatusUnauthorized:
				w.Header().Set("WWW-Authenticate", "Bearer")
				http.Error(w, "A bearer token of this cluster is needed.", status)
			case status == http.StatusForbidden:
				http.Error(w, "This identity may not get the URL /metrics: bind ClusterRole oauth-operator-metrics-reader to it.", status)
			case status != http.StatusOK:
				w.Header().Set("Retry-After", "1")
				http.Error(w, "Too many requests at a time.", status)
			default:
				next.ServeHTTP(w, request)
			}
		}), nil
	}, nil
}

type reviewer struct {
	cluster kubernetes.Interface
	slots   chan struct{}
}

// review returns 200 if the request is admitted, else the status to refuse it with. An error means
// that the API server did not say.
func (r *reviewer) review(request *http.Request) (status int, err error) {
	scheme, token, _ := strings.Cut(request.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return http.StatusUnauthorized, nil
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	default:
		return http.StatusServiceUnavailable, nil
	}
	ctx, cancel := context.WithTimeout(request.Context(), reviewTimeout)
	defer cancel()
	who, err := r.cluster.AuthenticationV1().TokenReviews().Create(ctx,
		&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	if err != nil {
		return http.StatusServiceUnavailable, fmt.Errorf("creating a TokenReview: %w", err)
	}
	if !who.Status.Authenticated {
		return http.StatusUnauthorized, nil
	}
	user := who.Status.User
	may, err := r.cluster.AuthorizationV1().SubjectAccessReviews().Create(ctx,
		&authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra(user.Extra),
			NonResourceAttributes: &authorizationv1.NonResourceAttributes{
				Path: request.URL.Path, Verb: strings.ToLower(request.Method),
			},
		}}, metav1.CreateOptions{})
	switch {
	case err != nil:
		return http.StatusServiceUnavailable, fmt.Errorf("creating a SubjectAccessReview: %w", err)
	case may.Status.Denied || !may.Status.Allowed:
		return http.StatusForbidden, nil
	}
	return http.StatusOK, nil
}

func extra(values map[string]authenticationv1.ExtraValue) map[string]authorizationv1.ExtraValue {
	converted := make(map[string]authorizationv1.ExtraValue, len(values))
	for key, value := range values {
		converted[key] = authorizationv1.ExtraValue(value)
	}
	return converted
}
