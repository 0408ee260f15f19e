package kubernetes_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// changePage changes the fields of a page.
func changePage(change func(page map[string]json.RawMessage)) laterPage {
	return func(r *http.Response) (*http.Response, error) {
		var page map[string]json.RawMessage
		err := json.NewDecoder(r.Body).Decode(&page)
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
		change(page)
		body, err := json.Marshal(page)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), -1
		r.Header.Del("Content-Length")
		return r, err
	}
}

var lostPages = map[string]laterPage{
	"the connection is cut": func(r *http.Response) (*http.Response, error) { _ = r.Body.Close(); return nil, errClosed },
	"its metadata are lost": changePage(func(page map[string]json.RawMessage) { page["metadata"] = json.RawMessage("{}") }),
	"its records are lost":  changePage(func(page map[string]json.RawMessage) { delete(page, "items") }),
}

// manyRecords creates grants that each rest on a consent, and marks, of which two are a third or less.
func (w *testServer) manyRecords(t *testing.T, s storage.Store) (grants, marks []string) {
	t.Helper()
	for i := range 6 {
		user, id := fmt.Sprint("user-", i), fmt.Sprint("g-", i)
		mustCreate(t, s, w.newConsentedGrant(id, user, "client", putConsent(t, s, user, "client")))
		grants = append(grants, id)
		mark := storage.Mark{Kind: storage.MarkToken, ID: fmt.Sprint("m-", i), ExpiresAt: w.now().Add(time.Hour)}
		if err := s.SetMark(t.Context(), mark); err != nil {
			t.Fatal(err)
		}
		marks = append(marks, mark.ID)
	}
	return grants, marks
}

// What is on the page is neither deleted nor unknown: a grant that was deleted stays dead, and a token
// that has no mark is good.
func TestARecordThatIsOnALostPageIsNeitherDeletedNorUnknown(t *testing.T) {
	for how, lose := range lostPages {
		for _, when := range []string{"at the start", "later"} {
			t.Run(how+" "+when, func(t *testing.T) {
				w := newTestServer(t)
				a := w.openStore(t, "main-0")
				grants, marks := w.manyRecords(t, a)
				api, network := newNetwork(w.api)
				var late *replica
				if when == "later" {
					late = w.openStoreWith(t, "main-1", api)
					network.loseLaterPages(lose)
				} else {
					network.loseLaterPages(lose)
					late = w.startStoreWith(t, "main-1", api)
				}
				eventually.True(t, "the pages are lost again and again", func() bool {
					network.closeWatches() // also one that was opened only now
					lists, least := network.countLost()
					return lists >= 3 && least >= 3 // of grants, consents and marks
				})
				if problem := late.Problem(); (problem != "") != (when != "later") {
					t.Errorf("the store says %q", problem)
				}
				recent := storage.RecentReader(late.Store)
				for i := range grants {
					if g, err := recent.GetGrant(t.Context(), grants[i]); err != nil || g.IsEnded() {
						t.Errorf("%s: %+v, %v", grants[i], g, err)
					}
					if marked, err := recent.IsMarked(t.Context(), storage.MarkToken, marks[i]); err != nil || !marked {
						t.Errorf("%s: %v, %v", marks[i], marked, err)
					}
				}
				w.clockOffset.Add(int64(storage.MaxRecentLag))
				network.failNext(unreachable, unreachable)
				if marked, err := recent.IsMarked(t.Context(), storage.MarkToken, "another"); !errors.Is(err, storage.ErrUnavailable) {
					t.Errorf("a mark that may be on the page, without an API server: %v, %v, want ErrUnavailable", marked, err)
				}
				network.clearFaults()
				network.loseLaterPages(nil)
				eventually.True(t, "all is known", func() bool {
					network.failNext(unreachable, unreachable)
					defer network.clearFaults()
					marked, err := recent.IsMarked(t.Context(), storage.MarkToken, "another")
					return err == nil && !marked && late.Problem() == ""
				})
				time.Sleep(time.Second) // what was taken for deleted would have been ended by now
				for _, id := range grants {
					if g, err := a.GetGrant(t.Context(), id); err != nil || g.IsEnded() {
						t.Errorf("afterwards %s is %+v, %v", id, g, err)
					}
				}
				if n := len(w.marks(t)); n != len(marks) {
					t.Errorf("there are %d marks, want those %d that were set", n, len(marks))
				}
			})
		}
	}
}
