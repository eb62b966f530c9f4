// Command write writes the dashboards as the JSON files that ship.
package main

import (
	"log"
	"os"

	"github.com/rollwatch/rollwatch/dashboards"
)

func main() {
	files, err := dashboards.All()
	if err != nil {
		log.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(name, content, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
