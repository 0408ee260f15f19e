package tokenserver

import (
	"math"
	"testing"

	"github.com/oauth-operator/oauth-operator/tokenserver/password"
)

func TestHashesTakeHalfOfTheMemoryAndAlwaysEnoughForOneOfOurs(t *testing.T) {
	for limit, want := range map[int64]int64{
		256 << 20: 128 << 20, 64 << 20: 32 << 20, 16 << 20: password.DefaultHashMemory, math.MaxInt64: maxHashMemory, 64 << 30: maxHashMemory,
	} {
		if got := hashMemory(limit); got != want {
			t.Errorf("of %d: %d, want %d", limit, got, want)
		}
	}
}
