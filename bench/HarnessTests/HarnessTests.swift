// placeholder to be replaced
import Testing
