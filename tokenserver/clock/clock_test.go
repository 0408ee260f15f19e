package clock

import (
	"context"
	"testing"
	"time"
)

func TestSleepEndsWithItsTimeOrItsContext(t *testing.T) {
	if !Sleep(t.Context(), time.Millisecond) {
		t.Error("it says that the context ended")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if Sleep(ctx, time.Hour) {
		t.Error("it says that an hour has passed")
	}
}
