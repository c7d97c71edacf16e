/* Records audio in three parts of a second each, and prints each part as soon as its file is complete.
 *
 *   cc parts.c -o parts -I../../include $(pkg-config --cflags --libs gstreamer-1.0)
 *   ./parts part-%02d.webm
 *
 * (-I../../include is only needed until the header is installed.)
 */

#include <gst/mediarecorder.h>

typedef struct
{
  GMainLoop *loop;
  GstElement *recorder;
  guint splits;
  gboolean failed;
} App;

static gboolean
on_second (gpointer data)
{
  App *app = data;
  GError *error = NULL;
  gboolean goes_on = app->splits++ < 2;

  if (goes_on)
    gst_media_recorder_split_now (app->recorder, &error);
  else
    gst_media_recorder_stop (app->recorder, &error);
  if (error == NULL)
    return goes_on;
  g_printerr ("%s\n", error->message);
  g_error_free (error);
  app->failed = TRUE;
  g_main_loop_quit (app->loop);
  return G_SOURCE_REMOVE;
}

static gboolean
on_message (GstBus * bus, GstMessage * message, gpointer data)
{
  App *app = data;
  const GstStructure *structure = gst_message_get_structure (message);

  (void) bus;
  if (gst_message_has_name (message, "mediarecorder-start")) {
    g_timeout_add (1000, on_second, app);
  } else if (gst_message_has_name (message, "mediarecorder-part")) {
    guint64 size = 0, duration = 0;

    gst_structure_get (structure, "size", G_TYPE_UINT64, &size,
        "duration", G_TYPE_UINT64, &duration, NULL);
    g_print ("%s: %" G_GUINT64_FORMAT " bytes, %" GST_TIME_FORMAT "\n",
        gst_structure_get_string (structure, "location"), size, GST_TIME_ARGS (duration));
  } else if (gst_message_has_name (message, "mediarecorder-stop")
      || GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR) {
    app->failed |= GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR;
    g_main_loop_quit (app->loop);
  }
  return G_SOURCE_CONTINUE;
}

int
main (int argc, char **argv)
{
  App app = { NULL, NULL, 0, FALSE };
  GstElement *pipeline;
  GstBus *bus;
  GError *error = NULL;

  gst_init (&argc, &argv);
  if (argc != 2) {
    g_printerr ("Usage: %s PATTERN\n", argv[0]);
    return 2;
  }
  pipeline = gst_parse_launch ("audiotestsrc is-live=true ! mediarecorder name=rec", &error);
  if (error != NULL) {
    g_printerr ("%s\n", error->message);
    return 1;
  }
  app.loop = g_main_loop_new (NULL, FALSE);
  app.recorder = gst_bin_get_by_name (GST_BIN (pipeline), "rec");
  g_object_set (app.recorder, "location", argv[1], NULL);
  bus = gst_element_get_bus (pipeline);
  gst_bus_add_watch (bus, on_message, &app);

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  gst_element_get_state (pipeline, NULL, NULL, 5 * GST_SECOND);
  if (gst_media_recorder_start (app.recorder, &error)) {
    g_main_loop_run (app.loop);
  } else {
    g_printerr ("%s\n", error->message);
    g_error_free (error);
    app.failed = TRUE;
  }

  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_bus_remove_watch (bus);
  gst_object_unref (bus);
  gst_object_unref (app.recorder);
  gst_object_unref (pipeline);
  g_main_loop_unref (app.loop);
  return app.failed;
}
