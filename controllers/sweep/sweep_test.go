package sweep

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	internalv1alpha1 "github.com/oauth-operator/oauth-operator/api/oauthinternal/v1alpha1"
)

func TestALargeSweepIsOneOfMoreThanTenAndMoreThanFivePercent(t *testing.T) {
	for _, c := range []struct {
		total, orphans int
		large          bool
	}{
		{10, 10, false}, {11, 11, true}, {219, 11, true}, {220, 11, false}, {220, 12, true}, {10_000, 500, false}, {10_000, 501, true}, {0, 0, false},
	} {
		var orphans []*internalv1alpha1.Entry
		for i := range c.orphans {
			orphans = append(orphans, &internalv1alpha1.Entry{ObjectMeta: metav1.ObjectMeta{UID: types.UID(fmt.Sprint(i))}})
		}
		deletable, waiting := decide(c.total, orphans, nil, time.Now(), time.Minute)
		if large := waiting != nil; large != c.large || large == (len(deletable) > 0 || c.orphans == 0) {
			t.Errorf("%d of %d: removed %d, waits %v", c.orphans, c.total, len(deletable), large)
		}
	}
}
