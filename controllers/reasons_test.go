package controllers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/oauth-operator/oauth-operator/test/documented"
)

// reasonChecker compares the conditions that the managers of all tests write with what the pages of
// the kinds say of them. It is no test of its own, since it sees most when all tests run.
type reasonChecker struct {
	pages map[string]documented.Reasons // by the resource of the kind

	mu       sync.Mutex
	problems map[string]bool
}

// checkReasons has the checker see the writes of a configuration.
func checkReasons(config *rest.Config) (*reasonChecker, error) {
	c := &reasonChecker{pages: map[string]documented.Reasons{}, problems: map[string]bool{}}
	for resource, kind := range map[string]string{
		"authorizationservers": "authorizationserver", "oauthclients": "oauthclient", "oauthusers": "oauthuser",
		"oauthidentities": "oauthidentity", "resourceservers": "resourceserver", "identityproviders": "identityprovider",
	} {
		reasons, err := documented.ReasonsOf(kind)
		if err != nil {
			return nil, err
		}
		c.pages[resource] = reasons
	}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if err := c.look(r); err != nil {
				return nil, err
			}
			return next.RoundTrip(r)
		})
	})
	return c, nil
}

// look checks a request if it writes a status.
func (c *reasonChecker) look(r *http.Request) error {
	parts := strings.Split(path.Clean(r.URL.Path), "/")
	if r.Method != http.MethodPatch || len(parts) < 3 || parts[len(parts)-1] != "status" {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var patch []struct {
		Path  string
		Value json.RawMessage
	}
	if err := json.Unmarshal(body, &patch); err != nil {
		return err
	}
	for _, operation := range patch {
		var status struct{ Conditions []metav1.Condition }
		var err error
		switch {
		case operation.Path == "/status":
			err = json.Unmarshal(operation.Value, &status)
		case operation.Path == "/status/conditions" && operation.Value != nil:
			err = json.Unmarshal(operation.Value, &status.Conditions)
		}
		if err != nil {
			return err
		}
		c.check(parts[len(parts)-3], status.Conditions)
	}
	return nil
}

func (c *reasonChecker) check(resource string, conditions []metav1.Condition) {
	page, found := c.pages[resource]
	if !found {
		return
	}
	for _, condition := range conditions {
		of, isDocumented := page.ByCondition[condition.Type]
		switch {
		case !isDocumented: // tests write conditions of other controllers too
			continue
		case condition.Type == "Ready" || condition.Type == "Stalled":
			of = slices.Concat(append(slices.Collect(maps.Values(page.ByCondition)), page.OfTrue)...)
		case condition.Status == metav1.ConditionTrue:
			of = page.OfTrue
		}
		if !slices.Contains(of, condition.Reason) && !slices.Contains(page.OfAny, condition.Reason) {
			c.mu.Lock()
			c.problems[fmt.Sprintf("docs/%s.md does not say that %s may be %s with the reason %s",
				strings.TrimSuffix(resource, "s"), condition.Type, condition.Status, condition.Reason)] = true
			c.mu.Unlock()
		}
	}
}

// found returns what the pages lack.
func (c *reasonChecker) found() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.problems))
}
