package testlayers

import "testing"

// TestRecipes checks that the seeds are worth having: most of them give a
// sound layer, some do not, and both compressions occur.
func TestRecipes(t *testing.T) {
	var sound, unsound, plain, several int
	for _, recipe := range Recipes() {
		blob, span := FromRecipe(recipe)
		if span < 1 {
			t.Errorf("recipe % x: span size %d", recipe, span)
		}
		mediaType := MediaTypeTar
		if len(blob) > 1 && blob[0] == 0x1f && blob[1] == 0x8b {
			mediaType = MediaTypeGzip
		} else {
			plain++
		}
		if readAll(Bad{MediaType: mediaType, Blob: blob}) != nil {
			unsound++
			continue
		}
		sound++
		if int64(len(blob)) > span {
			several++
		}
	}
	if sound < 30 || unsound < 5 || plain < 5 || several < 15 {
		t.Errorf("the seeds are too much alike: %d sound, %d unsound, %d uncompressed, %d of several spans", sound,
			unsound, plain, several)
	}
}
